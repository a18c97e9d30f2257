# The image of every Pond process; docker-compose.yml says which command each one runs.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 POND_VAR=/srv/var
WORKDIR /srv/pond

COPY requirements.lock .
RUN pip install --no-cache-dir --require-hashes -r requirements.lock

COPY . .
# Static files are part of the image: hashed, compressed, the same in every container. Production settings want
# their variables even here; these are thrown away.
RUN POND_ENV=production SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(50))')" \
    ALLOWED_HOSTS=build PUBLIC_URL=https://build DATABASE_URL=postgresql://build REDIS_URL=redis://build \
    python manage.py collectstatic --noinput -v 0

RUN useradd --system --home-dir /srv/var pond && mkdir -p /media /private && chown -R pond /srv/var /media /private
USER pond
EXPOSE 8000
