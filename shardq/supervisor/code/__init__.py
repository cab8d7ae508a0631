"""What is served, and how Python is executed for it."""
