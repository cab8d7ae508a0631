"""What a handler class has to be, where its requests go, and what its code sees while it runs."""
