"""Outputs as pictures that people can read, drawn by Pillow: an installation without extras draws them too."""
