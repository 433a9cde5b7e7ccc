"""Training: settings, the loop, the learner and its step, the folder of a run."""
