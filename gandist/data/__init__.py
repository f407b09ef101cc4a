"""Data that lie elsewhere: URLs, and the cache of a node that keeps what came from them."""
