"""What a run tells while it goes on: log lines and TensorBoard."""
