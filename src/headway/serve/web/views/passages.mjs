/** Texts to guess in: three beginnings of old books, and two that were written for this page. */

/** @type {Array<{name: string, text: string}>} */
export const PASSAGES = [
  {
    name: "A walk (new)",
    text:
      "In the morning we took the small road along the river, because the bridge was closed and nobody knew for how " +
      "long. My brother carried the bread and I carried the map, which was old and had been wet more than once. After " +
      "an hour the rain began again, and we waited under a tree until it was over.",
  },
  {
    name: "The letter (new)",
    text:
      "When the letter came at last, she put it on the table and did not open it before the evening. She knew the hand " +
      "at once, and she was afraid of what it would say. Her father asked her twice what was the matter, but she only " +
      "shook her head and went out into the garden.",
  },
  {
    name: "Jane Austen, Emma (1815)",
    text:
      "Emma Woodhouse, handsome, clever, and rich, with a comfortable home and happy disposition, seemed to unite some " +
      "of the best blessings of existence; and had lived nearly twenty-one years in the world with very little to " +
      "distress or vex her.",
  },
  {
    name: "Herman Melville, Moby-Dick (1851)",
    text:
      "Call me Ishmael. Some years ago - never mind how long precisely - having little or no money in my purse, and " +
      "nothing particular to interest me on shore, I thought I would sail about a little and see the watery part of " +
      "the world.",
  },
  {
    name: "Charles Dickens, A Tale of Two Cities (1859)",
    text:
      "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it " +
      "was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of " +
      "Darkness, it was the spring of hope, it was the winter of despair.",
  },
];
