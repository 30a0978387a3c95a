// Checks of WCAG 2.2, as functions of the current document. Evaluated by test_page_access.py.
(() => {
  const shown = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 1 && box.height > 1 && getComputedStyle(element).visibility !== "hidden";
  };
  const colour = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return text.startsWith("color(") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const over = (top, below) => top.slice(0, 3).map((value, i) => value * top[3] + below[i] * (1 - top[3]));
  const behind = (element) => {
    const layers = [];
    for (let node = element; node; node = node.parentElement) {
      const circle = node.matches?.(".dot") ? node.querySelector("circle") : null;
      layers.push(colour(circle ? getComputedStyle(circle).fill : getComputedStyle(node).backgroundColor));
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const name = (element) => `${element.tagName.toLowerCase()}#${element.id}.${element.getAttribute("class") ?? ""}`;
  const texts = () =>
    [...document.querySelectorAll("body *")].filter(
      (element) =>
        shown(element) &&
        !element.closest("[aria-disabled=true], .visually-hidden, noscript, :disabled") &&
        [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()),
    );

  return {
    /** Texts with contrast below 4.5:1 (large ones: 3:1), and edges of fields below 3:1. */
    pale: () => [
      ...texts().flatMap((element) => {
        const style = getComputedStyle(element);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        const back = behind(element);
        const ink = over(colour(element.namespaceURI.endsWith("svg") ? style.fill : style.color), back);
        const found = ratio(ink, back);
        return found < (large ? 3 : 4.5) ? [`${name(element)} ${found.toFixed(2)}`] : [];
      }),
      ...[...document.querySelectorAll("input[type=text], input[type=password], select, textarea, .outlined")].filter(shown).flatMap(
        (field) => {
          const found = ratio(colour(getComputedStyle(field).borderTopColor), behind(field.parentElement));
          return found < 3 ? [`edge of ${name(field)} ${found.toFixed(2)}`] : [];
        },
      ),
    ],
    /** Controls smaller than 44 by 44 CSS pixels. */
    small: () =>
      [...document.querySelectorAll("button, a, input, select, textarea, [role=option], .check, .speakers label")]
        .map((element) => (element.matches("label input") ? element.closest("label") : element))
        .filter(shown)
        .filter((element) => {
          const { width, height } = element.getBoundingClientRect();
          return width < 44 || height < 44;
        })
        .map(name),
    /** Elements wider than the window. */
    wide: () => [
      ...(document.documentElement.scrollWidth > innerWidth ? [`page ${document.documentElement.scrollWidth}`] : []),
      ...[...document.querySelectorAll("body *")]
        .filter((element) => shown(element) && !element.closest(".visually-hidden, svg"))
        .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5)
        .map(name),
    ],
    /** References to missing elements, duplicate ids, headings that skip a level. */
    broken: () => {
      const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
      const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
      const refers = ["aria-labelledby", "aria-describedby", "aria-controls", "aria-activedescendant", "for"];
      const lost = refers.flatMap((attribute) =>
        [...document.querySelectorAll(`[${attribute}]`)].flatMap((element) =>
          element.getAttribute(attribute).split(" ").filter((id) => !document.getElementById(id)),
        ),
      );
      const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((heading) => Number(heading.tagName[1]));
      const skips = levels.filter((level, index) => level > (levels[index - 1] ?? 0) + 1);
      return [...twice, ...lost, ...skips];
    },
  };
})();
