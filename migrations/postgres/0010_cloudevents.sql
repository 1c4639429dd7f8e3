-- Events that came as CloudEvents keep all of them but their data; endpoints may want CloudEvents, and to be asked first.

ALTER TABLE events ADD COLUMN cloudevent text; -- its attributes, a JSON object; NULL: it came as something else

ALTER TABLE endpoints
    DROP CONSTRAINT endpoints_body,
    ADD CONSTRAINT endpoints_body CHECK (body IN ('raw', 'envelope', 'cloudevents', 'cloudevents_binary')),
    ADD COLUMN handshake boolean NOT NULL DEFAULT false; -- it is asked whether it wants anything before it gets anything
