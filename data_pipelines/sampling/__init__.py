"""Records to batches: one sampler for each stage."""
