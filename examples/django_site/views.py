"""Takes payments, and shows accounts."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial

from django.db import transaction
from django.db.models import Sum
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from examples.django_site.models import Payment
from examples.django_site.tasks import book, send_receipt

#: How long after a payment its receipt is sent.
RECEIPT_AFTER = timedelta(milliseconds=200)


class Overdrawn(Exception):
    """An account would have less than nothing."""


@require_POST
def pay(request: HttpRequest, account: int) -> JsonResponse:
    """Store a payment, and have it booked. Its tasks are stored once it is committed: a payment that is taken back has
    none, and no worker looks for one that is not there yet.
    """
    given = json.loads(request.body)
    try:
        with transaction.atomic():
            payment = Payment.objects.create(account=account, identifier=given["identifier"], amount=given["amount"])
            receipt = send_receipt.using(run_after=timezone.now() + RECEIPT_AFTER)
            transaction.on_commit(partial(book.enqueue, account, payment.id))
            transaction.on_commit(partial(receipt.enqueue, payment.id))
            if _balance(account) < 0:
                raise Overdrawn
    except Overdrawn:
        return JsonResponse({"error": "overdrawn"}, status=409)
    return JsonResponse({"accepted": payment.identifier}, status=202)


@require_GET
def show(request: HttpRequest, account: int) -> JsonResponse:
    booked = Payment.objects.filter(account=account, position__isnull=False).order_by("position")
    return JsonResponse(
        {
            "balance": _balance(account),
            "booked": [[payment.position, payment.identifier] for payment in booked],
            "receipts": Payment.objects.filter(account=account, receipt=True).count(),
        }
    )


def _balance(account: int) -> int:
    return Payment.objects.filter(account=account).aggregate(sum=Sum("amount"))["sum"] or 0


urlpatterns = [path("accounts/<int:account>/payments", pay), path("accounts/<int:account>", show)]
