"""What the app lets its orchestrators do. Try it without a key: `@ada use pin_notice The lift is out of order`."""

from __future__ import annotations

from flask_neolith_orchestrator import ToolContext

from .models import Notice, db, neolith


@neolith.tool(approval="ask", idempotent=True)
def pin_notice(context: ToolContext, text: str) -> str:
    """Pin a notice to the noticeboard, which everybody sees at home, when the person who asked wants that.

    Args:
        text: The notice, one or two sentences.
    """
    # one call pins one notice, however often it is tried
    if db.session.scalar(db.select(Notice).filter_by(key=context.key)) is None:
        db.session.add(Notice(key=context.key, text=text[:500], author=context.orchestrator.user.name))
        db.session.commit()
    return "It is on the noticeboard."
