import sys

WHO = "1.0.0"
sys.lazy_loading_ran = [*getattr(sys, "lazy_loading_ran", []), WHO]
