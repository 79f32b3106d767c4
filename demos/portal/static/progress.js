// Shows what the server tells about a job, until the job is over.
const place = document.querySelector("#progress[data-events]");

if (place) {
  const source = new EventSource(place.dataset.events);
  const [bar, word, months] = ["progress", ".status", ".months"].map(each => place.querySelector(each));

  source.addEventListener("progress", event => {
    const {status, done, total} = JSON.parse(event.data);
    if (total) bar.max = total;
    bar.value = done;
    word.textContent = status;
    word.className = `status ${status}`;
    months.textContent = `${done} of ${bar.max} months`;
    if (status === "done" || status === "failed") {
      source.close();  // or the browser would connect again
      document.getElementById(status).hidden = false;
    }
  });
}
