from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from chat.forms import CardForm
from chat.models import Card


@login_required
def edit_card(request, pk=None):
    card = get_object_or_404(Card, pk=pk) if pk else None
    form = CardForm(request.POST or None, instance=card, user=request.user)
    if form.is_valid():
        return redirect("show-card", form.save().pk)
    return render(request, "form.html", {"form": form})


def show_card(request, pk):
    card = get_object_or_404(Card, pk=pk)
    return HttpResponse(f"{card.title}: {card.cover.filename}")
