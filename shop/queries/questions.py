"""A product's answered questions, and what a member asked herself."""

from shop.models import Question

MOST = 50


def questions_of(product_id: int) -> list[Question]:
    """Shown questions, the latest answer first."""
    rows = Question.objects.filter(product_id=product_id, state=Question.SHOWN)
    return list(rows.order_by("-answered_at", "-pk")[:MOST])


def open_questions_of(member_id: int, product_id: int) -> list[Question]:
    """Her own questions about a product that wait for an answer."""
    rows = Question.objects.filter(product_id=product_id, member_id=member_id, state=Question.OPEN)
    return list(rows.order_by("-asked_at"))
