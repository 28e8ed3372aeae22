"""Files -> dataset dicts: images, lesion masks, image lists, phantoms, registration, the mapper."""
