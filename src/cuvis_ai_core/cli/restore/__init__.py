"""The commands `restore-pipeline` and `restore-trainrun`: what they show, run and train."""
