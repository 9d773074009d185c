from django.http import HttpResponse
from django.shortcuts import redirect, render

from notes.models import Note

NOTES_SHOWN_MAX = 20


def index(request):
    if request.method == "POST":
        Note.objects.create(text=request.POST.get("text", "")[:200])
        return redirect("/")
    return render(request, "notes/index.html", {"notes": Note.objects.all()[:NOTES_SHOWN_MAX]})


def healthz(request):
    """Healthy is what can read the schema that its migration made."""
    Note.objects.exists()
    return HttpResponse("ok\n", content_type="text/plain")
