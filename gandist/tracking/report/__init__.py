"""A page about runs: one HTML file that holds all it shows. From what run folders hold (`reading`) come curves,
tables and pictures, and `page` puts them together."""
