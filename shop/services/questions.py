"""Questions about products: asked by members, answered by the shop."""

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.locks import advisory_lock
from shop.errors import BadQuestion, Enough, NoSuchProduct, NoSuchQuestion
from shop.models import Product, Question
from shop.services.booking_messages import tell_member

MOST_OPEN = 5


@transaction.atomic
def ask_question(*, member_id: int, product_id: int, text: str) -> Question:
    """A question for the shop; it shows with its answer.

    Locks: advisory on the member. Idempotent on: (member, product, words). Raises BadQuestion, Enough, NoSuchProduct.
    """
    words = " ".join(text.replace("\x00", "").split())
    if not 2 <= len(words) <= 200:
        raise BadQuestion(_("Please ask in 2 to 200 characters."))
    if not Product.objects.filter(pk=product_id).exclude(status=Product.DRAFT).exists():
        raise NoSuchProduct(_("This product does not exist any more."))
    advisory_lock("shop.questions", member_id)
    same = Question.objects.filter(member_id=member_id, product_id=product_id, text=words).first()
    if same is not None:
        return same
    if Question.objects.filter(member_id=member_id, state=Question.OPEN).count() >= MOST_OPEN:
        raise Enough(_("We still owe you some answers. Please wait for them before you ask more."))
    return Question.objects.create(
        member_id=member_id, product_id=product_id, text=words, asked_at=clock.now()
    )


@transaction.atomic
def answer_question(*, question_id: int, answer: str, by: str) -> Question:
    """Answer a question and show both; the member hears of the first answer where WeChat allows it.

    Locks: the question. Idempotent. Raises BadQuestion, NoSuchQuestion.
    """
    words = answer.replace("\x00", "").strip()[:500]
    if not words:
        raise BadQuestion(_("Please write an answer."))
    question = (
        Question.objects.select_for_update(of=("self",))
        .select_related("product")
        .filter(pk=question_id)
        .first()
    )
    if question is None:
        raise NoSuchQuestion(_("This question does not exist."))
    question.answer, question.state = words, Question.SHOWN
    question.answered_at, question.actor = clock.now(), by[:80]
    question.save(update_fields=["answer", "state", "answered_at", "actor"])
    tell_member(
        member_id=question.member_id,
        origin="question-answered",
        origin_id=question.pk,
        title=_("We answered your question"),
        text=question.product.name,
        path=f"/p/{question.product_id}/questions/",
    )
    return question


@transaction.atomic
def hide_question(*, question_id: int, by: str) -> int:
    """Keep a question from shoppers. Idempotent."""
    return Question.objects.filter(pk=question_id).update(state=Question.HIDDEN, actor=by[:80])


@transaction.atomic
def move_questions(*, kept_id: int, merged_id: int) -> int:
    """Questions of a member who turned out to be another; asked by both in the same words, one stays. Idempotent."""
    for question in Question.objects.filter(member_id=merged_id):
        if Question.objects.filter(
            member_id=kept_id, product_id=question.product_id, text=question.text
        ).exists():
            question.delete()
    return Question.objects.filter(member_id=merged_id).update(member_id=kept_id)
