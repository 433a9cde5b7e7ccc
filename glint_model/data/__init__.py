"""What training reads: labelled rows from a manifest or from ratings, which of them a step takes, and their pixels."""
