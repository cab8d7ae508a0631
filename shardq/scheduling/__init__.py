"""When things are due: schedules, rules of calendars, and how far to look for their next time."""
