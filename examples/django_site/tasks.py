"""What the site has done after it has answered."""

from __future__ import annotations

from django.db import transaction

from examples.django_site.backend import ordered_by
from examples.django_site.framework import task
from examples.django_site.models import Payment


@task()
@ordered_by("account")
def book(account: int, payment: int) -> None:
    """Give a payment the next position of its account. No two payments of an account are booked at once, which is why
    this needs no lock. A task may run twice, so one that is booked stays as it is.
    """
    with transaction.atomic():
        booked = Payment.objects.filter(account=account, position__isnull=False).count()
        Payment.objects.filter(id=payment, position__isnull=True).update(position=booked + 1)


@task(priority=-10)
async def send_receipt(payment: int) -> None:
    await Payment.objects.filter(id=payment).aupdate(receipt=True)
