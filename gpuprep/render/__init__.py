"""Results as text for people and for machines. Every function here is pure: a frozen result in, lines or a dict out."""
