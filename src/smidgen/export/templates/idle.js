// Work that can wait: done between frames, one piece at a time, so that the pen never waits.

const tasks = new Set(); // a task that is asked for again keeps its place
let waiting = false;
let settled = () => {};

/** Has the task done when the browser is idle; once, however often it is asked for until then. */
export function soon(task) {
  tasks.add(task);
  wait();
}

/** Calls `changed(isBusy)` when work begins to wait, and when all of it is done. */
export function watchWork(changed) {
  settled = changed;
}

function wait() {
  if (waiting) return;
  waiting = true;
  settled(true);
  if (window.requestIdleCallback) requestIdleCallback(work, { timeout: 250 });
  else setTimeout(work, 1);
}

function work() {
  waiting = false;
  const [task] = tasks;
  tasks.delete(task);
  task();
  if (tasks.size) wait();
  else settled(false);
}
