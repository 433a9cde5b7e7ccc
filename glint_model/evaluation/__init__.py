"""Scores of images, and how well they agree with human ratings."""
