"""What a supervisor and its workers write: logs, progress, standard streams."""
