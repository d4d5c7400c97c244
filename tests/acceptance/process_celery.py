"""What a host makes who runs Celery's own commands: `celery -A tests.acceptance.process_celery:celery worker`."""

from __future__ import annotations

from .process_app import create_app, neolith

app = create_app()
with app.app_context():
    celery = neolith.celery
