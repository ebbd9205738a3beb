"""The policy of this machine: one file that says which plugins may be loaded, of which kind, and what is asked of them.

`find_policy` returns it, or nothing where there is none; `Policy.judge` says under which rule a source may be loaded.
"""
