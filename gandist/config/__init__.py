"""YAML files → one mapping → one validated Config."""
