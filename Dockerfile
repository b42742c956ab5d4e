# The host project, for docker-compose.yml or any other container platform. The image holds no
# secret: README.md has the table of environment variables.
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app

COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt

# Copied one by one, so that nothing else of a work tree gets into the image.
COPY manage.py ./
COPY attachments ./attachments
COPY nodus ./nodus
RUN python manage.py collectstatic --noinput

USER 10001:10001
ENV DJANGO_DEBUG=false \
    BIND=0.0.0.0:8000
EXPOSE 8000
# /health answers within 2 s, whatever hangs.
HEALTHCHECK --interval=15s --timeout=10s --start-period=10s CMD ["python", "-m", "nodus.probe"]
CMD ["gunicorn", "-c", "python:nodus.gunicorn_conf"]
