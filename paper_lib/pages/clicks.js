'use strict';
// Draws the rollouts of the page's data. A place is a fraction of the plane, from its lower left corner.

const TYPES = {int16: Int16Array, uint8: Uint8Array, uint32: Uint32Array, float32: Float32Array};
const PLASMA = [[13, 8, 135], [84, 2, 163], [139, 10, 165], [185, 50, 137], [219, 92, 104], [244, 136, 73],
  [254, 188, 43], [240, 249, 33]];
const NEAR = 15;  // steps before and after the present one
const STEPS_A_SECOND = 20;  // agent steps that playing advances in a second

async function load(text) {
  const packed = Uint8Array.from(atob(text.trim()), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  const buffer = await new Response(stream).arrayBuffer();
  const end = new Uint8Array(buffer).indexOf(10);
  const header = JSON.parse(new TextDecoder().decode(buffer.slice(0, end)));
  const arrays = {};
  let offset = end + 1;
  for (const name of Object.keys(header.arrays).sort()) {
    const [type, shape] = header.arrays[name];
    const size = shape.reduce((product, length) => product * length, 1) * TYPES[type].BYTES_PER_ELEMENT;
    arrays[name] = {shape, values: new TYPES[type](buffer.slice(offset, offset + size))};
    offset += size;
  }
  return {header, arrays};
}

// The part of an array at these indices of its first axes.
function part(array, ...indices) {
  let length = array.values.length;
  let offset = 0;
  indices.forEach((index, axis) => {
    length /= array.shape[axis];
    offset += index * length;
  });
  return array.values.subarray(offset, offset + length);
}

// Differences of quanta -> points [x, y].
function path(differences, quanta) {
  const points = [];
  let x = 0;
  let y = 0;
  for (let index = 0; index < differences.length; index += 2) {
    x += differences[index];
    y += differences[index + 1];
    points.push([x / quanta, y / quanta]);
  }
  return points;
}

function plasma(level) {
  const place = level / 255 * (PLASMA.length - 1);
  const index = Math.min(Math.floor(place), PLASMA.length - 2);
  const mixed = PLASMA[index].map((low, band) => low + (place - index) * (PLASMA[index + 1][band] - low));
  return `rgb(${mixed.map(Math.round).join()})`;
}

// A canvas ready to be drawn on, in CSS pixels, and its size.
function fresh(canvas) {
  const {width, height} = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  return {context, width, height};
}

// What the recording holds, a pixel per cell: white where it never was, darker where it was often.
function recording({values, shape}) {
  const [columns, rows] = shape;
  const image = new ImageData(columns, rows);
  for (let column = 0; column < columns; column++) {
    for (let row = 0; row < rows; row++) {
      const level = values[column * rows + row];
      const grey = level ? 225 - 0.6 * level : 255;
      image.data.set([grey, grey, grey, 255], 4 * ((rows - 1 - row) * columns + column));
    }
  }
  const canvas = document.createElement('canvas');
  canvas.width = columns;
  canvas.height = rows;
  canvas.getContext('2d').putImageData(image, 0, 0);
  return canvas;
}

function stroke(context, points, color, width, dashes = []) {
  context.beginPath();
  points.forEach(([x, y]) => context.lineTo(x, y));
  context.strokeStyle = color;
  context.lineWidth = width;
  context.setLineDash(dashes);
  context.stroke();
  context.setLineDash([]);
}

function dot(context, [x, y], color, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = color;
  context.fill();
  context.strokeStyle = 'black';
  context.lineWidth = 1;
  context.stroke();
}

class Page {
  constructor({header, arrays}) {
    this.header = header;
    this.arrays = arrays;
    this.recording = recording(arrays.visits);
    this.steps = arrays.place.shape[2];
    this.step = 0;
    this.start = header.usual[Math.floor(header.usual.length / 2)];
    this.playing = 0;
    this.figures = [...document.querySelectorAll('figure[data-agent]')];
    const seen = [...arrays.seen.values];
    const least = Math.min(...seen);
    this.rare = seen.flatMap((count, start) => count === least ? [start] : []);
    this.listen(least);
    this.show();
  }

  listen(least) {
    const byId = name => document.getElementById(name);
    this.slider = byId('step');
    this.slider.max = this.steps - 1;
    this.slider.addEventListener('input', () => this.show({step: Number(this.slider.value)}));
    byId('usual').addEventListener('click', () => this.begin(this.header.usual));
    byId('rare').addEventListener('click', () => this.begin(this.rare));
    byId('rare').textContent = least ? 'a start that the recording hardly saw' : 'a start that the recording never saw';
    byId('play').addEventListener('click', () => this.play());
    for (const figure of this.figures) {
      const map = figure.querySelector('.map');
      const move = event => {
        const {left, top, width, height} = map.getBoundingClientRect();
        this.show({start: this.nearest((event.clientX - left) / width, 1 - (event.clientY - top) / height), step: 0});
      };
      map.addEventListener('pointerdown', move);
      map.addEventListener('pointermove', event => event.buttons && move(event));
    }
    window.addEventListener('resize', () => this.show());
  }

  // The next of these starts after the present one.
  begin(starts) {
    const later = starts.find(start => start > this.start);
    this.show({start: later === undefined ? starts[0] : later, step: 0});
  }

  place(start) {
    const {low, high} = this.header.plane;
    const [x, y] = part(this.arrays.starts, start);
    return [(x - low[0]) / (high[0] - low[0]), (y - low[1]) / (high[1] - low[1])];
  }

  nearest(x, y) {
    let best = 0;
    let least = Infinity;
    for (let start = 0; start < this.arrays.starts.shape[0]; start++) {
      const [atX, atY] = this.place(start);
      const distance = Math.hypot(atX - x, atY - y);
      if (distance < least) [best, least] = [start, distance];
    }
    return best;
  }

  play() {
    const from = this.step + 1 < this.steps ? this.step : 0;
    const begun = performance.now();
    const number = ++this.playing;
    const tick = now => {
      const step = from + Math.floor((now - begun) / 1000 * STEPS_A_SECOND);
      if (number !== this.playing || step >= this.steps) return;
      this.draw({step});
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  // Draw, and stop playing.
  show(state = {}) {
    this.playing++;
    this.draw(state);
  }

  draw(state) {
    Object.assign(this, state);
    this.slider.value = this.step;
    const [x, y] = part(this.arrays.starts, this.start);
    const [across, up] = this.header.plane.labels;
    const seen = part(this.arrays.seen, this.start)[0];
    const steps = seen === 1 ? '1 step' : `${seen} steps`;
    const held = seen ? `the recording has ${steps} in this cell` : 'the recording was never in this cell';
    document.getElementById('status').textContent =
      `Start: ${across} = ${x.toFixed(2)}, ${up} = ${y.toFixed(2)}; ${held}. Step ${this.step} of ${this.steps - 1}.`;
    document.body.dataset.start = this.start;
    this.figures.forEach((figure, agent) => {
      const score = part(this.arrays.score, agent, this.start)[0];
      figure.querySelector('.score').textContent = `score ${score.toFixed(0)}`;
      const points = path(part(this.arrays.place, agent, this.start), this.header.quanta);
      const losses = part(this.arrays.loss, agent, this.start);
      this.drawMap(figure.querySelector('.map'), agent, points, losses);
      this.drawCurve(figure.querySelector('.curve'), losses);
      if (this.arrays.pose) this.drawBodies(figure.querySelector('.body'), agent, figure.dataset.color);
    });
  }

  source() {
    return Math.min(Math.floor(this.step / this.header.every), this.arrays.imagined.shape[2] - 1);
  }

  drawMap(canvas, agent, points, losses) {
    const {context, width, height} = fresh(canvas);
    const there = ([x, y]) => [x * width, (1 - y) * height];
    context.imageSmoothingEnabled = false;
    context.drawImage(this.recording, 0, 0, width, height);
    this.drawMaze(context, there, width);
    const line = points.map(there);
    this.drawPath(context, line, losses);
    for (let draw = 0; draw < this.arrays.imagined.shape[3]; draw++) {
      const imagined = path(part(this.arrays.imagined, agent, this.start, this.source(), draw), this.header.quanta);
      stroke(context, imagined.map(there), 'white', 3);
      stroke(context, imagined.map(there), '#c00000', 1.5, [4, 3]);
    }
    dot(context, there(this.place(this.start)), '#ece133', 6);
    dot(context, line[this.step], 'white', 4.5);
  }

  // The whole path; of a body, which moves to and fro, the steps around the present one stand out.
  drawPath(context, line, losses) {
    const near = this.arrays.pose ? NEAR : this.steps;
    const first = Math.max(0, this.step - near);
    const end = Math.min(line.length, this.step + near + 1);
    context.globalAlpha = 0.25;
    stroke(context, line, '#54027f', 0.7);
    context.globalAlpha = 1;
    stroke(context, line.slice(first, end), 'black', 4);
    for (let index = first + 1; index < end; index++) {
      stroke(context, [line[index - 1], line[index]], plasma(losses[index]), 2.5);
    }
  }

  drawMaze(context, there, width) {
    const {low, high} = this.header.plane;
    const fraction = (x, y) => there([(x - low[0]) / (high[0] - low[0]), (y - low[1]) / (high[1] - low[1])]);
    context.fillStyle = '#303030';
    for (const [x, y, halfX, halfY] of this.header.walls) {
      const [left, top] = fraction(x - halfX, y + halfY);
      const [right, bottom] = fraction(x + halfX, y - halfY);
      context.fillRect(left, top, right - left, bottom - top);
    }
    if (this.header.goal.length) {
      const [x, y, radius] = this.header.goal;
      context.beginPath();
      context.arc(...fraction(x, y), radius / (high[0] - low[0]) * width, 0, 2 * Math.PI);
      context.strokeStyle = 'red';
      context.lineWidth = 2;
      context.stroke();
    }
  }

  drawCurve(canvas, losses) {
    const {context, width, height} = fresh(canvas);
    for (let index = 0; index < losses.length; index++) {
      const size = (0.1 + 0.9 * losses[index] / 255) * height;
      context.fillStyle = plasma(losses[index]);
      context.fillRect(index / losses.length * width, height - size, width / losses.length + 0.5, size);
    }
    const now = this.step / (this.steps - 1) * width;
    stroke(context, [[now, 0], [now, height]], getComputedStyle(canvas).color, 2);
  }

  // The body as it was, filled, and as it was imagined from the last source on, in outline.
  drawBodies(canvas, agent, color) {
    const {context, width, height} = fresh(canvas);
    const unit = height / 1.9;
    const ground = height - 0.15 * unit;
    const there = ([x, z]) => [width / 2 + unit * x, ground - unit * z];
    stroke(context, [[0, ground], [width, ground]], getComputedStyle(canvas).color, 1);
    const drawn = (pose, style) => {
      for (const {from, to, radius} of this.capsules(pose)) style(there(from), there(to), 2 * radius * unit);
    };
    const size = this.arrays.pose.shape[3];
    const pose = part(this.arrays.pose, agent, this.start).subarray(this.step * size, (this.step + 1) * size);
    context.lineCap = 'round';
    drawn(pose, (from, to, thickness) => stroke(context, [from, to], color, thickness));
    const lag = this.step - this.source() * this.header.every;
    if (lag <= this.header.ahead) {
      const all = part(this.arrays.imagined_pose, agent, this.start, this.source());
      const index = Math.round(lag / this.header.stride) * size;
      drawn(all.subarray(index, index + size), (from, to) => {
        stroke(context, [from, to], 'white', 5);
        stroke(context, [from, to], '#c00000', 2.5);
      });
    }
    context.lineCap = 'butt';
  }

  // Ends of the parts of a body, in metres, below each other from the torso on.
  capsules(pose) {
    const origins = [];
    const angles = [];
    return this.header.body.map((bodyPart, index) => {
      const angle = pose[index] / 256 * 2 * Math.PI;
      const turned = ([x, z], by) => [Math.cos(by) * x + Math.sin(by) * z, -Math.sin(by) * x + Math.cos(by) * z];
      const added = (a, b, sign = 1) => [a[0] + sign * b[0], a[1] + sign * b[1]];
      let origin = [0, pose[pose.length - 1] / 255 * this.header.highest];
      if (bodyPart.parent >= 0) {
        const joint = added(origins[bodyPart.parent], turned(bodyPart.anchor, angles[bodyPart.parent]));
        origin = added(joint, turned(bodyPart.joint, angle), -1);
      }
      origins.push(origin);
      angles.push(angle);
      const [from, to] = bodyPart.ends.map(end => added(origin, turned(end, angle)));
      return {from, to, radius: bodyPart.radius};
    });
  }
}

load(document.getElementById('data').textContent).then(data => new Page(data));
