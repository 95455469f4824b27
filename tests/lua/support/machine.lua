--- machine.lua - streams for tests of a dialect's writer: what core/chat/translate.c does with it, in few lines.
local json = require "moongate.json"
local dialect = require "moongate.dialect"
local world = require "support.world"

local Machine = {}
Machine.__index = Machine

local function put(self, text)
  self.out[#self.out + 1] = text
end

local function put_frame(self, block, text)
  block.text = block.text .. text
  if not block.frame then
    return
  end
  for _, piece in ipairs(block.frame) do
    if piece == dialect.TEXT then
      put(self, json.encode(text))
    elseif piece == dialect.SEQ then
      put(self, ("%d"):format(self.s.seq))
      self.s.seq = self.s.seq + 1
    else
      put(self, piece)
    end
  end
end

local function begin(self, block)
  local choice = self.choices[block.choice] or { blocks = 0, tools = 0 }
  self.choices[block.choice] = choice
  block.index, choice.blocks, block.text = choice.blocks, choice.blocks + 1, ""
  if block.kind == "tool" then
    block.tool, choice.tools = choice.tools, choice.tools + 1
  end
  local text, frame = self.writer.open(self.s, block)
  block.frame = frame
  put(self, text)
  self.open[#self.open + 1] = block
  return block
end

local function finish_block(self, at)
  local block = table.remove(self.open, at)
  if block.kind == "tool" and block.text == "" then
    put_frame(self, block, "{}")
  end
  block.json = (self.writer.wants_text or not block.frame) and json.encode(block.text) or nil
  put(self, self.writer.close(self.s, block))
end

local function close_all(self, choice)
  for at = #self.open, 1, -1 do
    if self.open[at].choice == choice then
      finish_block(self, at)
    end
  end
end

local function current(self, kind, choice)
  for _, block in ipairs(self.open) do
    if block.kind == kind and block.choice == choice then
      return block
    end
  end
end

local function texts(self, delta, choice)
  local block = current(self, delta.kind, choice)
  if not block then
    close_all(self, choice)
    block = begin(self, { kind = delta.kind, choice = choice })
  end
  put_frame(self, block, delta.text)
end

local function flush_waiting(self, choice)
  local waiting = self.waiting
  self.waiting = {}
  for _, delta in ipairs(waiting) do
    self:feed(delta)
  end
  return #waiting > 0 and #self.waiting == 0 and choice
end

local function tools(self, delta, choice)
  local key = choice .. ":" .. delta.tool
  local block = self.calls[key]
  if not block then
    local open = current(self, "tool", choice)
    if self.writer.one_block and open and not open.over then
      self.waiting[#self.waiting + 1] = delta
      return
    end
    for at = #self.open, 1, -1 do
      if self.writer.one_block or self.open[at].kind ~= "tool" then
        finish_block(self, at)
      end
    end
    block = begin(self, { kind = "tool", choice = choice, id = delta.id, name = delta.name, signature = delta.signature })
    self.calls[key] = block
  end
  if delta.arguments and delta.arguments ~= "" then
    put_frame(self, block, delta.arguments)
  end
end

function Machine:feed(delta)
  local choice = delta.choice or 0
  if delta.kind == "tool" then
    tools(self, delta, choice)
  elseif delta.kind == "text" or delta.kind == "reasoning" or delta.kind == "refusal" then
    texts(self, delta, choice)
  elseif delta.kind == "finish" then
    close_all(self, choice)
    while #self.waiting > 0 do -- interleaved calls come one after the other
      flush_waiting(self, choice)
      close_all(self, choice)
    end
    put(self, self.writer.finish(self.s, { choice = choice, reason = delta.reason, stop_sequence = delta.stop_sequence }))
  elseif delta.kind == "usage" then
    self.usage = delta.usage
  else
    put(self, self.writer.opaque(self.s, delta))
  end
end

--- The stream that a client of `to` gets for deltas of a provider of `from`.
return function(from, to, deltas, options)
  local s = world.ctx(options)
  s.model, s.provider, s.client, s.seq = s.model or "m", from, to, 0
  if s.include_usage == nil then
    s.include_usage = true
  end
  local self = setmetatable({ writer = world.dialect(to).stream, s = s, out = {}, open = {}, choices = {}, calls = {}, waiting = {} },
    Machine)
  put(self, self.writer.start(s))
  for _, delta in ipairs(deltas) do
    self:feed(delta)
  end
  put(self, self.writer.done(s, self.usage))
  return table.concat(self.out)
end
