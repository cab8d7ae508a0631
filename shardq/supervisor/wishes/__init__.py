"""What a supervisor is asked to do: by signals, by an application, by a drain, by a reload."""
