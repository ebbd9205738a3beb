"""What a run gives: outputs in files, pictures, the record of what ran, and the folder that gets them at once."""
