class Leaf:
    who = "1.0.0"
