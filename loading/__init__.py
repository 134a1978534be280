"""From image files and captions to batches: decoding, transforms, samplers, loaders."""
