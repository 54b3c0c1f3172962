// Tabs as the ARIA authoring practices describe them: arrow keys move and select, Tab leaves.

export function tabs(list, onChange) {
  const all = [...list.querySelectorAll('[role="tab"]')];
  const select = (chosen) => {
    for (const tab of all) {
      const selected = tab === chosen;
      tab.setAttribute('aria-selected', String(selected));
      tab.tabIndex = selected ? 0 : -1;
      document.getElementById(tab.getAttribute('aria-controls')).hidden = !selected;
    }
    onChange(chosen.id);
  };
  list.addEventListener('click', ({ target }) => all.includes(target) && select(target));
  list.addEventListener('keydown', (event) => {
    const place = all.indexOf(document.activeElement);
    const moves = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: all.length - 1 };
    if (place < 0 || !(event.key in moves)) return;
    event.preventDefault();
    const next = all.at(moves[event.key] % all.length);
    next.focus();
    select(next);
  });
  return { select: (id) => select(document.getElementById(id)) };
}
