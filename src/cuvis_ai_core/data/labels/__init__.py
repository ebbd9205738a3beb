"""What is known about the pixels of cubes: COCO files, PNG masks, and which of them belongs to which cube."""
