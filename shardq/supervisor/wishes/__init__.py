"""What others want of a supervisor: signals, an application, a drain, new code."""
