"""How gunicorn serves nodus, in `make run`, in Docker and in the benchmarks."""

import os

wsgi_app = "nodus.wsgi"
bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
preload_app = True  # load nodus once, then fork: starts twice as fast, and workers share memory
worker_class = "gthread"  # while a confirm waits for the store, its worker serves others
threads = 4
timeout = 60
graceful_timeout = 30
keepalive = 5
control_socket_disable = True  # the control socket needs a home directory
accesslog = os.environ.get("ACCESS_LOG", "-") or None
access_log_format = '%({x-forwarded-for}i)s %(h)s "%(r)s" %(s)s %(b)s %(M)sms'
