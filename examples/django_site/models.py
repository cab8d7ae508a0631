"""Payments of accounts."""

from __future__ import annotations

from django.db import models


class Payment(models.Model):
    account = models.IntegerField(db_index=True)
    identifier = models.CharField(max_length=64, unique=True)
    amount = models.IntegerField()
    position = models.IntegerField(null=True)
    """Which of its account's it is, in the order in which they were booked."""
    receipt = models.BooleanField(default=False)
