"""Which photos are the same picture: by perceptual hash and vector, and which pictures must not leak into a dataset.

Imports FAISS: only what searches should wait for it.
"""
