"""Pluggy for one registry: what takes part, in which order, and what keeps one broken plugin from the others."""
