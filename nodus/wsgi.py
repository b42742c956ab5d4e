import os

from django.core.wsgi import get_wsgi_application

from nodus.databases import PatientConnection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nodus.settings")

application = get_wsgi_application()

# As long as nginx waits for a page. Whoever deletes a million files at once needs some of it.
PatientConnection.patience = 60
