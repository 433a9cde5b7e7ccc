"""The 25 distortions of KADID-10k at 5 levels each."""
