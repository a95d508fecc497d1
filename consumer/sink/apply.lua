-- Applies one plan, whole or not at all. The guard's rule is compare in guard/version.py; a test proves the two equal.
--
-- KEYS  guard, [config], [balance], [a hash to update only if it exists], removed..., cleared...
-- ARGV  1 the plan's shape: JSON text, parsed once and kept   2 version
--       3 '' or '=' and the version that must stand in the guard, '=' alone for none; or '<' and an offset: a rebuild
--         has read its partition up to there, and has seen every version below
--       4... values; the shape names them by number, from 1
-- The shape
--       table, mode, extent (whole, changed or part)
--       part: '' for the whole plan. On a cluster a script reaches one slot only. There 'version_slot' is what lies in the
--         guard's slot, 'other_slot' a balance in another slot, with a guard of its own, 'messages' the messages
--       changed, whole, update: field, number of its value, ...   gone: fields that a rebuilt hash must not have
--       balance: number of its value, ttl: seconds   removed: how many keys   keep: the update's fields go to the guard
--       messages: channel, number of its body, ...   guard_ttl: seconds the guard outlives a deleted user
-- In the guard, beside the version of each table: '+field' of a linked table, kept for a hash that is made later;
-- '!table' the mark of a change that could not be applied; '>table' how many messages of a version were sent, and on a
-- cluster also that the keys in other slots are still to be written.
-- A plan of extent changed comes without the whole image, for the hash most often exists. If it does not, the reply is
-- 'absent', nothing was done, and the plan comes again with the image.
-- Reply  a change that was applied to a hash that existed: one number, of the subscribers reached, the keys cleared and
--        the update (0 absent, 1 updated, 2 none)
--        else: verdict, config (-1 none, 0 updated, 1 created), update (-1 none, 0 absent, 1 updated), keys cleared,
--        subscribers reached, the version before or '', how much a fill or a rebuild changed;
--        for 'version_slot', if the rest is still to be done: the mode, and '1' if it was so before this call

local VALUES = 3 -- the value with number 1 is the argument behind this one
local MOST_SHAPES = 1000
local MOST_CLEARED = 100000 -- the usual reply is one number, which has no room for more; call.py has the same number
local shapes, kept_shapes = {}, 0

-- What the functions below share; set anew at each call.
local keys, args, shape, guard, field, version, change
local mode, said, stored, before, mark, pending, pending_version, deleted, is_again
local config, balance, update, config_exists, update_exists, differed
local sent, reached, cleared

local function shape_of(text)
  local found = shapes[text]
  if found then return found end
  found = cjson.decode(text)
  if kept_shapes >= MOST_SHAPES then shapes, kept_shapes = {}, 0 end
  shapes[text], kept_shapes = found, kept_shapes + 1
  found.mark, found.pending = '!' .. found.table, '>' .. found.table
  local at = 2
  if #found.changed + #found.whole > 0 then found.config, at = at, at + 1 end
  if found.balance then found.balance_key, at = at, at + 1 end
  if #found.update > 0 then found.update_key, at = at, at + 1 end
  found.first_removed = at
  return found
end

-- Epoch, origin, time written, source's time, topic and partition, offset. Version 0.1 did not keep the time written.
local VERSION = '^(%d+)|(%a)|t:(%d+)|[^|]*|(%d+)|([^|]*|%d+)|(%d+)'
local OLD_VERSION = '^(%d+)|(%a)|[^|]*|[^|]*|((%d+))|([^|]*|%d+)|(%d+)'

local function parsed(text)
  local epoch, origin, written, ts, partition, offset = string.match(text, VERSION)
  if not epoch then
    epoch, origin, written, ts, partition, offset = string.match(text, OLD_VERSION)
    if not epoch then return nil end
  end
  return {epoch = tonumber(epoch), origin = origin, written = tonumber(written), ts = tonumber(ts),
    partition = partition, offset = tonumber(offset)}
end

local function compare(new, old)
  if new.epoch ~= old.epoch then return new.epoch > old.epoch and 'newer' or 'stale' end
  if new.partition ~= old.partition then
    local is_later = new.written > old.written or new.written == old.written and new.ts > old.ts
    return is_later and 'newer' or 'stale'
  end
  if new.offset > old.offset or new.written > old.written and new.ts > old.ts then return 'newer' end
  return new.offset == old.offset and 'duplicate' or 'stale'
end

-- Most changes are the next change of their partition. This check is much cheaper than compare, and answers true only
-- if compare answers 'newer'.
local NEXT = '^(%d+)|%a|[^|]*|[^|]*|%d+|([^|]*|%d+)|(%d+)$'

local function is_next()
  local epoch, partition, offset = string.match(version, NEXT)
  local old_epoch, old_partition, old_offset = string.match(stored, NEXT)
  return epoch == old_epoch and partition == old_partition and tonumber(offset) > tonumber(old_offset)
end

local function is_of(text, new)
  local old = parsed(text)
  return old and old.partition == new.partition and old.offset == new.offset
end

-- The reply of a plan of which nothing was carried out but, at most, a mark.
local function plain_reply(verdict) return {verdict, -1, -1, 0, 0, stored or '', 0} end

local function error_of(failure)
  return redis.error_reply(type(failure) == 'table' and failure.err or tostring(failure))
end

-- Sends the messages that were not sent before.
local function send()
  local messages = shape.messages
  for i = 1 + 2 * sent, #messages, 2 do
    reached = reached + redis.call('PUBLISH', messages[i], args[VALUES + messages[i + 1]])
    sent = sent + 1
  end
end

-- One table for all calls, because a new table costs more than filling this one. Only the first words are read.
local words = {}

local function set_fields(key, fields)
  for i = 1, #fields, 2 do words[i], words[i + 1] = fields[i], args[VALUES + fields[i + 1]] end
  redis.call('HSET', key, unpack(words, 1, #fields))
end

-- How many of the fields were missing, and are there now.
local function fill_fields(key, fields)
  local count = 0
  for i = 1, #fields, 2 do count = count + redis.call('HSETNX', key, fields[i], args[VALUES + fields[i + 1]]) end
  return count
end

-- How many of the fields have another value; only of those in ``only``, if it is given.
local function count_others(key, fields, only)
  local names, wanted, others = {}, {}, 0
  for i = 1, #fields, 2 do
    if not only or only[fields[i]] then names[#names + 1], wanted[#wanted + 1] = fields[i], args[VALUES + fields[i + 1]] end
  end
  for i, value in ipairs(#names > 0 and redis.call('HMGET', key, unpack(names)) or {}) do
    if value ~= wanted[i] then others = others + 1 end
  end
  return others
end

local function kind_of(key) return redis.call('TYPE', key).ok end

-- Whether the hash at ``key`` exists. A key of the wrong type is found before anything is written, for a script is not
-- rolled back.
local function hash_exists(key, may_be_other)
  if not key then return false end
  local kind = kind_of(key)
  if kind ~= 'hash' and kind ~= 'none' and not may_be_other then error({err = 'WRONGTYPE ' .. key .. ' is no hash'}) end
  return kind == 'hash'
end

-- Fields of linked tables are kept in the guard with a '+' before their name, for a hash that is made later.
local function set_kept_fields()
  local known = redis.call('HGETALL', guard)
  for i = 1, #known, 2 do
    if string.sub(known[i], 1, 1) == '+' then redis.call('HSETNX', config, string.sub(known[i], 2), known[i + 1]) end
  end
end

local function keep_fields()
  local fields = shape.update
  for i = 1, #fields, 2 do redis.call('HSET', guard, '+' .. fields[i], args[VALUES + fields[i + 1]]) end
end

local function forget_kept_fields()
  for _, name in ipairs(redis.call('HKEYS', guard)) do
    if string.sub(name, 1, 1) == '+' then redis.call('HDEL', guard, name) end
  end
end

local function fill()
  local count = config and fill_fields(config, shape.whole) or 0
  if #shape.whole > 0 and not config_exists then set_kept_fields() end
  if shape.keep and not stored then keep_fields() end
  if update_exists then count = count + fill_fields(update, shape.update) end
  if balance and redis.call('SET', balance, args[VALUES + shape.balance], 'EX', shape.ttl, 'NX') then count = count + 1 end
  return count
end

-- How much of what a rebuild writes is not there yet; the times of changes do not count. A balance that has expired is
-- no difference, nor is a portfolio that does not exist.
local function differences()
  local count = 0
  if config and config_exists then
    count = count_others(config, shape.changed)
    for _, name in ipairs(shape.gone) do count = count + redis.call('HEXISTS', config, name) end
  elseif #shape.whole > 0 then
    count = 1
  end
  local kind = balance and kind_of(balance)
  if kind == 'string' and redis.call('GET', balance) ~= args[VALUES + shape.balance] then count = count + 1 end
  if kind and kind ~= 'string' and kind ~= 'none' then count = count + 1 end
  if update_exists then
    local owned = {}
    for i = 1, #shape.changed, 2 do owned[shape.changed[i]] = true end
    count = count + count_others(update, shape.update, not shape.keep and owned)
  end
  for i = shape.first_removed, shape.first_removed + shape.removed - 1 do count = count + redis.call('EXISTS', keys[i]) end
  return count
end

local function write()
  if config_exists then
    set_fields(config, shape.changed)
    -- Times of changes too, which stand in the whole image alone.
    if mode == 'rebuild' and #shape.whole > 0 then set_fields(config, shape.whole) end
    for _, name in ipairs(shape.gone) do redis.call('HDEL', config, name) end
  elseif config and #shape.whole > 0 then
    set_fields(config, shape.whole)
    set_kept_fields()
  end
  if balance then redis.call('SET', balance, args[VALUES + shape.balance], 'EX', shape.ttl) end
  if update_exists then set_fields(update, shape.update) end
  if shape.keep then keep_fields() end
  if shape.removed > 0 then forget_kept_fields() end
end

local function clear_and_send()
  -- In slices: a script's stack holds some 8,000 values.
  for i = shape.first_removed, #keys, 1000 do
    cleared = cleared + redis.call('UNLINK', unpack(keys, i, math.min(i + 999, #keys)))
  end
  send()
end

local function carry_out()
  if mode == 'fill' then differed = fill() else write() end
  if mode ~= 'rebuild' or differed > 0 then clear_and_send() end
end

-- On a cluster: what lies in other slots is still to be written, and the messages are still to be sent.
local function note_rest()
  if shape.part == 'version_slot' then redis.call('HSET', guard, shape.pending, '0|' .. version) end
end

local function send_rest(is_due)
  if not is_due then return 0 end
  sent = tonumber(string.match(pending, '^%d+'))
  local is_sent, failure = pcall(send)
  if not is_sent then
    redis.call('HSET', guard, shape.pending, sent .. '|' .. pending_version)
    return error_of(failure)
  end
  redis.call('HDEL', guard, shape.pending)
  return reached
end

local function set_mark()
  local text = change.partition .. '|' .. string.format('%.0f', change.offset)
  if before and before.partition == change.partition and before.offset > change.offset then return plain_reply('stale') end
  if mark == text then return plain_reply('duplicate') end
  redis.call('HSET', guard, shape.mark, text)
  -- A deleted user's guard expires when its time is over.
  if not deleted then redis.call('PERSIST', guard) end
  return plain_reply('newer')
end

-- What the guard says to the plan.
local function verdict()
  local condition = args[3]
  if string.sub(condition, 1, 1) == '=' then
    -- What was read in the database is right as long as no change came since.
    return condition ~= '=' .. (stored or '') and 'stale' or stored and 'duplicate' or 'newer'
  end
  if not stored then return 'newer' end
  local found = compare(change, before)
  local known_below = found == 'stale' and tonumber(string.match(condition, '^<(%d+)'))
  if known_below and shape.removed == 0 and before.epoch == change.epoch and before.partition == change.partition
    and before.offset < known_below then
    -- What the rebuild has read contains the record that stands there. A row that was read in the database counts for
    -- nothing beside a change, and a hash that does not exist has nothing to lose.
    local is_missing = #shape.whole > 0 and redis.call('EXISTS', keys[2]) == 0
    if before.origin == 'i' or is_missing then return 'duplicate' end
  end
  return found
end

-- In which mode the plan is carried out, by what the guard holds.
local function choose_mode()
  -- What an incremental read says may be older than what a change wrote that is not in the log any more.
  if mode == 'rebuild' and change.origin == 'i' and not is_again then mode = 'fill' end
  if mode ~= 'fill' then return end
  -- An operator's new epoch makes a snapshot's reads authoritative.
  if stored and change.epoch > before.epoch then mode = 'change' end
  -- A user who is marked is healed by any whole image.
  if mark and not deleted and shape.extent == 'whole' then mode = 'change' end
  -- Of a linked table's many rows the last one read counts, as long as only reads stand there.
  if shape.keep and said == 'newer' and stored and before.origin == 'i' then mode = 'change' end
end

local function has_other_table()
  for _, name in ipairs(redis.call('HKEYS', guard)) do
    if not string.find(name, '^[+!>]') and name ~= field then return true end
  end
  return false
end

local function set_expiry(has_others)
  if shape.part == 'other_slot' or shape.removed > 0 then
    redis.call('EXPIRE', guard, shape.guard_ttl)
  elseif deleted or (config and shape.extent ~= 'part' and not (config_exists and stored)) then
    redis.call('PERSIST', guard)
  elseif shape.keep and not update_exists and not stored and not has_others then
    -- Of a user who is not there, and may never be.
    redis.call('EXPIRE', guard, shape.guard_ttl)
  end
end

local function answer(was_due)
  local is_usual = mode == 'change' and config_exists and not differed and said == 'newer' and shape.part == ''
  if is_usual and cleared < MOST_CLEARED then
    return (reached * MOST_CLEARED + cleared) * 3 + (update and (update_exists and 1 or 0) or 2)
  end
  local found = {said, config and (config_exists and 0 or #shape.whole > 0 and 1) or -1,
    update and (update_exists and 1 or 0) or -1, cleared, reached, stored or '', differed or 0}
  if shape.part == 'version_slot' then found[8], found[9] = mode, was_due and '1' or '' end
  return found
end

-- Carries out a plan that the guard accepts.
local function apply_newer(was_due)
  config, balance, update = keys[shape.config], keys[shape.balance_key], keys[shape.update_key]
  config_exists = hash_exists(config)
  update_exists = hash_exists(update, shape.keep) -- fields that are kept in the guard wait there until the hash is made
  if config and not config_exists and #shape.whole == 0 and shape.extent == 'changed' then return plain_reply('absent') end

  if mode == 'fill' and stored then
    differed = fill()
    if differed > 0 then clear_and_send() else said = 'duplicate' end
    note_rest()
    return answer(was_due)
  end
  if mode == 'rebuild' then
    differed = differences()
    if is_again and differed == 0 and not mark then
      note_rest()
      return answer(was_due)
    end
    if is_again then said = 'healed' end
  end

  -- The guard goes first: where memory is short, it is this write that is refused, with nothing written yet. If a later
  -- step fails the old guard is put back, so that the plan counts as not applied and can be tried again.
  local new = version
  if is_again or args[3] ~= '' and string.sub(args[3], 1, 1) == '=' then new = string.gsub(stored or '', '|d$', '') end
  if new ~= '' and shape.removed > 0 then new = new .. '|d' end
  local has_others = shape.keep and has_other_table()
  if pending and shape.part == '' and is_of(pending_version, change) then sent = tonumber(string.match(pending, '^%d+')) end
  -- Of a user of whom no record was applied there is no version to keep.
  local taken = new ~= '' and redis.pcall('HSET', guard, field, new)
  if type(taken) == 'table' and taken.err then return taken end
  local is_done, failure = pcall(carry_out)
  if not is_done then
    if stored then redis.call('HSET', guard, field, stored) else redis.call('HDEL', guard, field) end
    -- Messages that were sent are not sent again when the plan is tried again.
    if sent > 0 then redis.call('HSET', guard, shape.pending, sent .. '|' .. version) end
    return error_of(failure)
  end
  if mark and shape.extent == 'whole' then redis.call('HDEL', guard, shape.mark) end
  if shape.part == 'version_slot' then
    note_rest()
  elseif pending and not is_again then
    redis.call('HDEL', guard, shape.pending)
  end
  set_expiry(has_others)
  return answer(was_due)
end

local function apply_plan()
  local known = redis.pcall('HMGET', guard, field, shape.mark, shape.pending)
  if known.err then return known end
  stored, mark, pending = known[1], known[2], known[3]
  is_again = false
  local is_usual = stored and mode == 'change' and args[3] == '' and not (mark or pending) and shape.part ~= 'messages'
  if is_usual and is_next() then
    said, deleted = 'newer', false
    return apply_newer(false)
  end
  change, before, deleted = parsed(version), stored and parsed(stored), stored and string.sub(stored, -2) == '|d'
  pending_version = pending and string.match(pending, '|(.*)$') or ''
  local was_due = pending and shape.part ~= '' and is_of(pending_version, change)

  if shape.part == 'messages' then return send_rest(was_due) end
  if mode == 'mark' then return set_mark() end
  if mark then
    -- A mark of a later record is not this plan's to heal.
    local partition, offset = string.match(mark, '^(.*|%d+)|(%d+)$')
    if partition == change.partition and tonumber(offset) > change.offset then mark = nil end
  end
  if stored and not before then
    return redis.error_reply('GUARD the version of ' .. field .. ' in ' .. guard .. ' is not readable')
  end
  said = verdict()
  -- Rebuilding writes the change that stands there again, for that heals what others did to it since. What a change has
  -- begun in other slots, and has not published yet, it finishes itself.
  is_again = mode == 'rebuild' and said == 'duplicate'
  if is_again and was_due then said, is_again = 'stale', false end
  local is_refused = said == 'stale' or said == 'duplicate' and not is_again
  choose_mode()
  if mode == 'fill' then
    if deleted then said = 'stale' end
    is_refused = said == 'stale'
  end
  if is_refused and was_due and said == 'duplicate' then
    return {'newer', shape.config and 0 or -1, shape.update_key and 1 or -1, 0, 0, stored, 1, mode, '1'}
  end
  if is_refused then return plain_reply(said) end
  if mark and shape.extent == 'changed' then return plain_reply('unhealed') end
  return apply_newer(was_due)
end

-- How far a group is: keys are its hash, [a key that is gone if Redis was emptied meanwhile]; args are 'advance' or 'remember',
-- then fields and offsets. 'advance' is refused where what stood there before is gone: to write would hide that Redis
-- was emptied.
local function keep_offsets()
  local command = keys[2] and 'HSETNX' or 'HSET'
  if keys[2] and redis.call('EXISTS', keys[2]) == 0 then return 'emptied' end
  for i = 2, args[1] == 'advance' and #args or 0, 2 do
    if redis.call('HEXISTS', keys[1], args[i]) == 0 then return 'emptied' end
  end
  for i = 2, #args, 2 do redis.call(command, keys[1], args[i], args[i + 1]) end
  return 'kept'
end

local function apply(all_keys, all_arguments)
  keys, args = all_keys, all_arguments
  if args[1] == 'advance' or args[1] == 'remember' then return keep_offsets() end
  shape = shape_of(args[1])
  guard, field, version, mode = keys[1], shape.table, args[2], shape.mode
  differed, sent, reached, cleared = nil, 0, 0, 0
  local is_done, reply = pcall(apply_plan)
  return is_done and reply or error_of(reply)
end
