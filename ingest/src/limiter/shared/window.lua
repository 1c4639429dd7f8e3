-- Leases tokens of one key's limit (a tenant's, an address's, a source's), which all ingests keep together, by this server's clock.
--
-- A window slides over the events granted: those of the current one, and of the one before as much as the last span still
-- covers. What the ended windows have left unused is saved up to a bound and is granted when the window is full: a burst
-- after a quiet time. A key without a state has everything saved.
--
-- KEYS[1]: the key's state at this limit. ARGV: events per window, the window's span in microseconds, the most that is
-- saved, how many tokens are wanted, how long the state is kept in milliseconds, and how many tokens are of use at least.
-- Answers: tokens granted, tokens left, microseconds until as many as were wanted are free (1 if some were granted), and
-- microseconds until the window ends.
local events, span, most_saved, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local window = math.floor(now / span)
local into = now - window * span

local state = redis.call('HMGET', KEYS[1], 'window', 'current', 'previous', 'saved')
local current, previous, saved = 0, 0, most_saved
if state[1] then
  current, previous, saved = tonumber(state[2]), tonumber(state[3]), tonumber(state[4])
  local ended = window - tonumber(state[1])
  if ended > 0 then
    saved = math.min(most_saved, saved + ended * events - current)
    previous, current = ended == 1 and current or 0, 0
  elseif ended < 0 then
    -- The clock was set back: what was granted counts for the window that is now the current one.
    previous = 0
  end
end

local open = math.max(0, events - current - math.floor(previous * (span - into) / span))
local granted = math.min(wanted, open + saved)
if granted < tonumber(ARGV[6]) then
  granted = 0
end
local of_window = math.min(granted, open)
current, saved = current + of_window, saved - (granted - of_window)

local wait = 0
if granted > 0 then
  redis.call('HSET', KEYS[1], 'window', string.format('%.0f', window), 'current', string.format('%.0f', current),
    'previous', string.format('%.0f', previous), 'saved', string.format('%.0f', saved))
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
else
  -- When the window has slid far enough over what it covers: in this one, or else in the next.
  local needed = math.max(0, wanted - saved)
  local room = events - current - needed
  if room >= 0 then
    wait = span + 1 - math.ceil((room + 1) * span / previous) - into
  else
    wait = span - into + math.max(0, span + 1 - math.ceil((events - needed + 1) * span / current))
  end
end
return { granted, open - of_window + saved, math.max(1, wait), span - into }
