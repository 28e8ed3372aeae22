"""Files to dataset dicts: images, lesion masks, image lists, phantoms, registration."""
