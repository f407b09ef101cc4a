"""Labelled images from a conditional generator, and whether a classifier gains by them."""
