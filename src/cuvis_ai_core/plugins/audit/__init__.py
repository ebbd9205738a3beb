"""What there is to know about the plugins of a manifest before they are trusted: no code of theirs is run for it."""
