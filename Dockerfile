# The host project, for docker-compose.yml or any other container platform. It runs as an ordinary
# user, and writes to /tmp alone. The image holds no secret: README.md has the table of environment
# variables.
FROM python:3.11-slim AS build

WORKDIR /app
COPY requirements.txt /tmp/
RUN python -m venv --without-pip /venv && \
    pip --python /venv/bin/python install --no-cache-dir -r /tmp/requirements.txt
ENV PATH=/venv/bin:$PATH

# Copied one by one, so that nothing else of a work tree gets into the image.
COPY manage.py ./
COPY attachments ./attachments
COPY nodus ./nodus
# Compiled here, as nothing can be written there at run time.
RUN python manage.py collectstatic --noinput && python -m compileall -q .

FROM python:3.11-slim

ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DJANGO_DEBUG=false \
    BIND=0.0.0.0:8000
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
USER 10001:10001
EXPOSE 8000
# /health answers within 2 s, whatever hangs.
HEALTHCHECK --interval=15s --timeout=10s --start-period=10s CMD ["python", "-m", "nodus.probe"]
CMD ["gunicorn", "-c", "python:nodus.gunicorn_conf"]
