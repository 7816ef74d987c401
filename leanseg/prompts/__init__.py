"""Prompts: what a person says about a tumor, as text, as a structure, and as read off a mask."""
